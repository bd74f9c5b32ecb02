@control @services @gate
Feature: Control: a rollback that waits for somebody who does not come

  What was detected has started it, and a person must confirm. Everybody sleeps.

  Background:
    Given the service "shop" with 1000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: Nobody confirms it, and it stops as the plan says
    When release "v2-fails-checkouts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "waits-for-confirmation"
    And nobody approves it
    Then the drill fails because "the plan ran as written"
