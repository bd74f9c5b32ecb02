@kubernetes @database @critical @gate
Feature: Rolling back by helm rollback with a hook that migrates

  Helm runs the hooks of the revision that it goes back to, before it changes a pod. That revision has a Job that
  brings the column back, first on the subscriber and then on the primary, and finds the migrations, which its own
  image does not have, in a ConfigMap.

  Background:
    Given the service "shop" with 20000 orders
    And a streaming replica and a logical replica
    And 30 journeys per second by 30 users

  Scenario: The hook brings the column back before the code
    When release "v2-drops-coupon" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "helm-hook"
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
