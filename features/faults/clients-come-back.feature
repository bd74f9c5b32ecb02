@herd @critical @gate
Feature: Rolling back while clients wait to come back

  Clients who got errors have given up and try again later. When service is restored they all come at once, beside those
  who come anyway. Service that bears its usual load and breaks down under theirs is not restored for long.

  Background:
    Given the service "shop" with 1000 orders
    And 20 journeys per second by 30 users

  Scenario: Restored service bears the clients who come back
    When release "v2-fails-checkouts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    And 4 times as many clients come back for 10 seconds when service is restored
    Then service is restored within 5 minutes
    And service stays restored when clients come back
    And every acknowledged order exists exactly once
