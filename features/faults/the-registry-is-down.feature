@faults @services @critical @gate
Feature: Rolling back while the registry is down

  The old image was taken off the machines to save room, and the registry that has it fails at the worst time. What is
  needed for the way back must be here before the way back begins.

  Scenario: The image was brought here first
    Given the service "shop" with 1000 orders
    And a streaming replica
    And 20 journeys per second by 30 users
    When release "v2-fails-checkouts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "pulls-first"
    And the registry is down before step 2
    Then service is restored within 5 minutes
    And every instance serves the target release
    And every acknowledged order exists exactly once
    And billing still reads shop's orders
